"""Evaluation on test collections in BEIR's layout: data sets, runs, measures and their results."""

"""Build, keep and search: one artifact on disk, several kinds of index over the same documents."""

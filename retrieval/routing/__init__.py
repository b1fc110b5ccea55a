"""Who answers a query, an expert or a system: the rules, what a router's folder says, and routers opened."""

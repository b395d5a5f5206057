"""HTTP before any endpoint: the socket, bounds, middleware, strict JSON, errors and how routes document them."""

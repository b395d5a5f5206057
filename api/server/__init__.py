"""HTTP before any endpoint: the socket, bounds, middleware, strict JSON, errors, the fast path."""

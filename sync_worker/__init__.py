"""The forking pool (RQ): plain synchronous functions, one process a job."""

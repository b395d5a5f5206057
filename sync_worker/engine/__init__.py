"""The forking pool's engine: claim, fork, renew, drain."""

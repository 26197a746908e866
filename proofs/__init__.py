"""The evidence behind `docs/reliability.md`: run by `make prove`, in small by `make test`."""

//! Black-box tests: the real binary over real servers, seen from outside. Run by `make test`.

#![cfg(test)]

//! End-to-end tests over a real chain and stock clients.

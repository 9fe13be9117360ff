//! Every verb, from the call to its event.

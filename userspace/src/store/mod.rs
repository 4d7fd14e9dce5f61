//! The opt-in store.

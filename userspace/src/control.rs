//! The one way in which the opt-in store and the maps change together.

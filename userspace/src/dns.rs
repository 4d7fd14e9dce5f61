//! One resolver for everything: the only module that names hickory_resolver.

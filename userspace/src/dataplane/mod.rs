//! The XDP program and its maps: the only importer of aya.

//! Where accepted mail goes.

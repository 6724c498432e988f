//! Topics that Picket itself speaks on.

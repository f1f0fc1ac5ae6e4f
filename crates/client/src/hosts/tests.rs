//! Settings of a registry, as they add up and as folders of other tools hold them.

//! Other people's formats as sources and targets.

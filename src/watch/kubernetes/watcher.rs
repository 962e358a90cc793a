//! From lists and watches of one cluster to observations.

//! What the door asks of the registry: who may come in, and under which policies.

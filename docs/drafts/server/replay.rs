//! Judges a log again from its first record and compares what comes out with what is stored: the proof that nothing was
//! lost, doubled or decided by anything but the log.
//!
//! For each partition: a new Engine, every record through `pipeline::decode`, changes that are events collected as
//! (violation id, event type, time). Then the same triples from `Db::violation_events` over all time. Both sorted; what
//! is on one side only is a difference. Records that are in the log but beyond `applied_seq` have no effects yet and are
//! left out. `reports()` prints partition, position, thing and report id of every report record, for the crash test that
//! compares them with what was acknowledged.

//! The only SQL, and the only files of the server.
//!
//! What this room has said is stored is on the disk. It never judges and never talks to a device.

//! The tenant's own program: real processes, which do all that a program should not. Whatever one does fails its own
//! file or message and nothing else.

mod files;
mod messages;
mod rig;

//! iExec's clients, schedulers and workers, over PoCo's contracts.

mod machines;
mod owners;
mod served;
mod story;
mod surface;

//! iExec's clients, schedulers and workers, over PoCo's contracts.

mod story;

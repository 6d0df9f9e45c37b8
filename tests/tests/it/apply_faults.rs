//! What becomes of an apply of the real program when something dies, freezes, or cannot be reached. What was made is judged by a
//! book outside of everything that is tested.

mod book;
mod outages;
mod stories;
mod sweep;

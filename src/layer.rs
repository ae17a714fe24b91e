//! The layers of the walk, one a file; none knows another.

pub mod authenticate;
<<<<<<< HEAD
pub mod record;
=======
>>>>>>> house

//! What a call cost in tokens, answers that were not good enough included.

use crate::usage::Usage;

/// Counted until the call is over. What comes to light later is for somebody else to count.
#[derive(Debug, Default)]
pub(crate) struct Cost {
    /// Of answers that were put aside for another one.
    aside: Usage,
    /// Of the answer that stands, so far.
    answer: Usage,
    /// What was counted when the call was over.
    counted: Option<Usage>,
}

impl Cost {
    /// What the answer that stands has cost so far.
    pub(crate) fn answer(&mut self, usage: Usage) {
        self.answer = usage;
    }

    /// What an answer has cost that was put aside.
    pub(crate) fn aside(&mut self, usage: Usage) {
        self.aside += usage;
    }

    /// The call is over: what it has cost until then.
    pub(crate) fn close(&mut self) -> Usage {
        let all = self.all();
        *self.counted.get_or_insert(all)
    }

    /// What is counted of it.
    pub(crate) fn counted(&self) -> Usage {
        self.counted.unwrap_or_else(|| self.all())
    }

    /// What came to light after the call was over.
    pub(crate) fn uncounted(&self) -> Usage {
        self.all().beyond(self.counted())
    }

    fn all(&self) -> Usage {
        let mut all = self.aside;
        all += self.answer;
        all
    }
}

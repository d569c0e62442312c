//! What was asked for recently, and no more of it than a number.

use std::collections::HashMap;

/// So many values at most, each by its key. One more takes the place of that which was not asked for the longest.
#[derive(Debug)]
pub(super) struct Recent<T> {
    most: usize,
    values: HashMap<String, Entry<T>>,
    /// How often any was asked for.
    uses: u64,
}

#[derive(Debug)]
struct Entry<T> {
    value: T,
    used: u64,
}

impl<T: Clone> Recent<T> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            values: HashMap::new(),
            uses: 0,
        }
    }

    /// Cost: one look-up.
    pub(super) fn get(&mut self, key: &str) -> Option<T> {
        let entry = self.values.get_mut(key)?;
        self.uses += 1;
        entry.used = self.uses;
        Some(entry.value.clone())
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.values.values().map(|entry| &entry.value)
    }

    pub(super) fn clear(&mut self) {
        self.values.clear();
    }

    /// Cost: one look-up; where there are as many as there may be, a pass over all.
    pub(super) fn insert(&mut self, key: String, value: T) {
        if self.values.len() >= self.most && !self.values.contains_key(&key) {
            let oldest = self.values.iter().min_by_key(|(_, entry)| entry.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.values.remove(&oldest);
            }
        }
        self.uses += 1;
        let used = self.uses;
        self.values.insert(key, Entry { value, used });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_takes_the_place_of_the_one_not_asked_for_the_longest() {
        let mut recent = Recent::new(2);
        recent.insert("a".to_owned(), 1);
        recent.insert("b".to_owned(), 2);
        assert_eq!(recent.get("a"), Some(1));
        recent.insert("c".to_owned(), 3);
        assert_eq!(
            ["a", "b", "c"].map(|key| recent.get(key)),
            [Some(1), None, Some(3)]
        );
        recent.insert("c".to_owned(), 4);
        assert_eq!(
            ["a", "c"].map(|key| recent.get(key)),
            [Some(1), Some(4)],
            "the same again needs no place"
        );
        recent.clear();
        assert_eq!(recent.get("a"), None);
    }
}

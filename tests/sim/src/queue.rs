//! What happens next: events by time, and in the order of their scheduling where the time is the same.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

struct Entry<E> {
    at: u64,
    order: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives its greatest: the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// Events to come.
pub struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    scheduled: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            scheduled: 0,
        }
    }
}

impl<E> Queue<E> {
    /// `event` happens at `at`.
    pub fn push(&mut self, at: u64, event: E) {
        self.scheduled += 1;
        self.heap.push(Entry {
            at,
            order: self.scheduled,
            event,
        });
    }

    /// The next event that happens at or before `until`.
    pub fn pop(&mut self, until: u64) -> Option<(u64, E)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    /// When the next event happens.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Events scheduled since the beginning.
    #[must_use]
    pub fn scheduled(&self) -> u64 {
        self.scheduled
    }
}

/// Things that events carry, by small numbers: an event stays one word, and no packet is allocated twice.
pub struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Keeps `value`; the number is free again once it is taken.
    pub fn put(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(value);
            return slot;
        }
        self.slots.push(Some(value));
        (self.slots.len() - 1) as u32
    }

    /// The value of a slot that is in use.
    ///
    /// # Panics
    /// If the slot is empty.
    #[must_use]
    pub fn get(&self, slot: u32) -> &T {
        self.slots[slot as usize].as_ref().expect("the slot is in use")
    }

    /// Gives the value back.
    ///
    /// # Panics
    /// If the slot is empty: an event was delivered twice.
    pub fn take(&mut self, slot: u32) -> T {
        self.free.push(slot);
        self.slots[slot as usize].take().expect("each slot is taken once")
    }

    /// Values kept now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::{Queue, Slab};

    #[test]
    fn by_time_and_then_in_order() {
        let mut queue = Queue::default();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.push(at, event);
        }
        let order: String = std::iter::from_fn(|| queue.pop(5))
            .map(|(_, event)| event)
            .collect();
        assert_eq!(order, "abcd");
        assert_eq!(queue.pop(9), Some((9, 'e')));
    }

    #[test]
    fn slots_are_used_again() {
        let mut slab = Slab::default();
        let first = slab.put("x");
        assert_eq!(slab.take(first), "x");
        assert_eq!(slab.put("y"), first);
        assert_eq!(slab.len(), 1);
    }
}

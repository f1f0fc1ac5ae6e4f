//! What a file holds: pages that were written, and holes between them.
//!
//! Pages are shared between the live file and its durable version, so that a sync copies pointers and not bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes in a page. A disk may keep one page of an unsynced write and lose the next, so this is also the grain of loss.
pub(super) const PAGE: u64 = 4096;

type Page = Arc<[u8]>;

/// The bytes of one file. What no page covers reads as zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    size: u64,
    pages: BTreeMap<u64, Page>,
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that the pages take, holes not counted.
    pub(super) fn allocated(&self) -> u64 {
        self.pages.len() as u64 * PAGE
    }

    pub(super) fn read(&self, offset: u64, length: u64) -> Vec<u8> {
        let end = offset.saturating_add(length).min(self.size);
        let mut out = vec![0; to_usize(end.saturating_sub(offset))];
        if out.is_empty() {
            return out;
        }
        for (number, page) in self.pages.range(offset / PAGE..end.div_ceil(PAGE)) {
            let start = number * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            out[to_usize(from - offset)..to_usize(to - offset)]
                .copy_from_slice(&page[to_usize(from - start)..to_usize(to - start)]);
        }
        out
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        for number in offset / PAGE..end.div_ceil(PAGE) {
            let start = number * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            let source = &bytes[to_usize(from - offset)..to_usize(to - offset)];
            self.edit(number, |page| {
                page[to_usize(from - start)..to_usize(to - start)].copy_from_slice(source);
            });
        }
        self.size = self.size.max(end);
    }

    /// Pages that a write of this range would add.
    pub(super) fn growth(&self, offset: u64, length: u64) -> u64 {
        let wanted = offset / PAGE..offset.saturating_add(length).div_ceil(PAGE);
        let present = self.pages.range(wanted.clone()).count() as u64;
        (wanted.end - wanted.start - present) * PAGE
    }

    /// Gives every page of the range a place, holding zeros where it had none.
    pub(super) fn allocate(&mut self, offset: u64, length: u64) {
        for number in offset / PAGE..offset.saturating_add(length).div_ceil(PAGE) {
            self.pages.entry(number).or_insert_with(empty_page);
        }
    }

    pub(super) fn resize(&mut self, size: u64) {
        if size < self.size {
            self.zero(size, self.size - size);
            self.pages.split_off(&size.div_ceil(PAGE));
        }
        self.size = size;
    }

    /// Makes the range read as zeros; pages that lie in it whole become holes.
    pub(super) fn punch(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        self.zero(offset, length);
        self.pages.retain(|number, _| number * PAGE < offset || (number + 1) * PAGE > end);
    }

    fn zero(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        let touched: Vec<u64> =
            self.pages.range(offset / PAGE..end.div_ceil(PAGE)).map(|(number, _)| *number).collect();
        for number in touched {
            let start = number * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(end));
            self.edit(number, |page| page[to_usize(from - start)..to_usize(to - start)].fill(0));
        }
    }

    fn edit(&mut self, number: u64, change: impl FnOnce(&mut [u8])) {
        let page = self.pages.entry(number).or_insert_with(empty_page);
        change(Arc::make_mut(page));
    }

    /// The first byte at or after `offset` that a page covers, for `SEEK_DATA`. None past the last page.
    pub(super) fn next_data(&self, offset: u64) -> Option<u64> {
        let (number, _) = self.pages.range(offset / PAGE..).next()?;
        let at = (number * PAGE).max(offset);
        (at < self.size).then_some(at)
    }

    /// The first byte at or after `offset` that no page covers, for `SEEK_HOLE`; the end of the file is one.
    pub(super) fn next_hole(&self, offset: u64) -> u64 {
        let mut number = offset / PAGE;
        while self.pages.contains_key(&number) {
            number += 1;
        }
        (number * PAGE).max(offset).min(self.size)
    }

    /// The pages that hold data, with the offset of each.
    pub(super) fn pages(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.pages.iter().map(|(number, page)| (number * PAGE, &page[..]))
    }

    /// A version between `self` and `newer`: `choose` says for the size and for every page that differs whether the newer one arrived.
    pub(super) fn blend(&self, newer: &Self, mut choose: impl FnMut() -> bool) -> Self {
        let mut mixed = self.clone();
        if newer.size != self.size && choose() {
            mixed.resize(newer.size);
        }
        let mut numbers: Vec<u64> = self.pages.keys().chain(newer.pages.keys()).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let (old, new) = (self.pages.get(&number), newer.pages.get(&number));
            let same = matches!((old, new), (Some(old), Some(new)) if Arc::ptr_eq(old, new));
            if same || number * PAGE >= mixed.size || !choose() {
                continue;
            }
            match new {
                Some(page) => mixed.pages.insert(number, Arc::clone(page)),
                None => mixed.pages.remove(&number),
            };
        }
        let size = mixed.size;
        mixed.zero(size, PAGE);
        mixed
    }
}

fn empty_page() -> Page {
    Arc::from([0; to_usize(PAGE)])
}

/// Offsets inside one request or one page, which the kernel keeps far below `u32::MAX`.
#[expect(clippy::cast_possible_truncation, reason = "the targets are 64-bit")]
const fn to_usize(value: u64) -> usize {
    value as usize
}

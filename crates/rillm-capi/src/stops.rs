//! The stop strings of a text, copied to the caller's memory, so that the caller's own may go.

use core::ptr::NonNull;

use rillm_generate::{LONGEST_STOP_STRING, MOST_STOP_STRINGS, StopStrings};

use crate::place::Region;

/// The copies.
pub struct StopRoom {
    bytes: [u8; MOST_STOP_STRINGS * LONGEST_STOP_STRING],
    strings: [&'static str; MOST_STOP_STRINGS],
}

/// A place for the stop strings in the caller's memory.
pub struct Stops(NonNull<StopRoom>);

impl Stops {
    /// Takes a place from the memory. None if there is no room.
    pub fn place(memory: &mut Region<'static>) -> Option<Self> {
        let room = StopRoom { bytes: [0; MOST_STOP_STRINGS * LONGEST_STOP_STRING], strings: [""; MOST_STOP_STRINGS] };
        Some(Self(memory.place(room)?.into()))
    }

    /// Copies `strings`, which [`StopStrings::new`] has accepted, and returns the filter for them.
    ///
    /// # Safety
    /// No filter that an earlier call has returned is used any more.
    pub unsafe fn copy(&mut self, strings: &[&str]) -> StopStrings<'static> {
        // SAFETY: the place is ours, and as our caller promises nobody refers to it.
        let StopRoom { bytes, strings: copies } = unsafe { &mut *self.0.as_ptr() };
        let mut rest: &'static mut [u8] = bytes;
        for (copy, string) in copies.iter_mut().zip(strings) {
            let Some(place) = rest.split_off_mut(..string.len()) else { break };
            place.copy_from_slice(string.as_bytes());
            *copy = str::from_utf8(place).unwrap_or_default();
        }
        StopStrings::new(&copies[..strings.len().min(MOST_STOP_STRINGS)]).unwrap_or_default()
    }
}

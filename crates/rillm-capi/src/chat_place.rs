//! The chat of a text, in the caller's memory, so that the generation of an answer can refer to it.

use core::ptr::NonNull;

use rillm::Chat;

use crate::place::Region;

/// A place for a chat in the caller's memory.
pub struct ChatPlace(NonNull<Option<Chat>>);

impl ChatPlace {
    /// Takes a place from the memory. None if there is no room.
    pub fn take(memory: &mut Region<'static>) -> Option<Self> {
        Some(Self(memory.place(None)?.into()))
    }

    /// Puts a chat there.
    ///
    /// # Safety
    /// What an earlier call of [`get`](Self::get) has returned is not used any more.
    pub unsafe fn set(&mut self, chat: Chat) {
        // SAFETY: the place is ours, and as our caller promises nobody refers to it.
        unsafe { self.0.write(Some(chat)) };
    }

    /// The chat, if one was put there.
    ///
    /// # Safety
    /// What an earlier call has returned is not used any more.
    pub unsafe fn get(&mut self) -> Option<&'static mut Chat> {
        // SAFETY: the place is ours for good, and as our caller promises nobody refers to it.
        unsafe { (*self.0.as_ptr()).as_mut() }
    }
}

use rillm::format::FormatError;

/// Why a model cannot take the place of the one in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file has no partition table with an application.
    #[error(
        "it is no image of a board's flash from address 0: it has no partition table at 0x8000 with an application"
    )]
    NoApplication,
    /// The application ends early, or its checksum or SHA-256 is another one.
    #[error("the image is damaged: it was not copied whole, or bytes of it have changed")]
    Damaged,
    /// The application is for a chip without rillm's firmware.
    #[error("the image is for an unknown chip, number {0}")]
    UnknownChip(u16),
    /// The application's constants do not end with a model that this library reads.
    #[error(
        "the image is not of rillm's firmware, or of another version: there is no model at the end of its constants"
    )]
    NoModel,
    /// The other model's file is invalid.
    #[error("it is no model: {0}")]
    Model(#[from] FormatError),
    /// The other model's file is shorter than its header says.
    #[error("the model has {len} bytes and should have {expected}: it was not copied whole; copy it again")]
    CutModel {
        /// Length of the file in bytes.
        len: u64,
        /// Length by the header.
        expected: u64,
    },
    /// The other model is too long for the flash, or for the addresses at which it can be mapped.
    #[error(
        "the model has {len} bytes, and beside the firmware the flash has room for {most}; put it on a card instead"
    )]
    TooLong {
        /// Length of the model in bytes.
        len: u64,
        /// Length of the longest model.
        most: u64,
    },
}

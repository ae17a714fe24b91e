//! The operations, as far as they must be told apart.

/// What a request asks for, as far as geminate must tell operations apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// `:generateContent`
    Generate,
    /// `:streamGenerateContent?alt=sse`: frames of `data: {json}`.
    StreamSse,
    /// `:streamGenerateContent`: one JSON array that arrives piece by piece.
    StreamArray,
    /// `:countTokens`
    CountTokens,
    /// `:embedContent`
    Embed,
    /// `:batchEmbedContents`
    BatchEmbed,
    /// `GET /models`
    ModelList,
    /// `GET /models/{m}`
    ModelGet,
    /// OpenAI's `chat/completions`
    Chat,
    /// OpenAI's `embeddings`
    Embeddings,
    /// `POST /interactions`: a turn, which Google stores unless it is told not to.
    Interaction,
    /// Below `/upload`: a file in one request.
    Upload,
    /// Below `/upload`: the beginning of a resumable upload.
    UploadStart,
    /// Below `/upload`, with an `upload_id`: whatever goes on with a resumable upload.
    UploadChunk,
    /// Below `/ws`: a WebSocket, such as the Live API's.
    Live,
    /// `OpenAI`'s `realtime`: a WebSocket in a dialect that nobody speaks here.
    Realtime,
    /// Everything else that Google may know.
    Other,
}

/// What a call makes that later calls may name together with more of the kind: whatever they name must have one owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Makes {
    /// A file, a cache, a store or the like: named in prompts, and by one another.
    Thing,
    /// A turn of a conversation that Google stores.
    Turn,
}

/// The collections of such things: a turn may name an agent, an environment and files.
const NAMED_TOGETHER: [&str; 7] =
    ["files", "cachedContents", "fileSearchStores", "tunedModels", "corpora", "agents", "environments"];

impl Action {
    /// What a call of this kind that makes something in `collection` makes.
    pub(crate) fn makes(self, collection: &str) -> Option<Makes> {
        match self {
            Self::Upload | Self::UploadStart => Some(Makes::Thing),
            Self::Interaction => Some(Makes::Turn),
            Self::Other => NAMED_TOGETHER.contains(&collection).then_some(Makes::Thing),
            _ => None,
        }
    }

    /// Whether Google sends the answer as it grows, whatever the body says.
    pub const fn streams(self) -> bool {
        matches!(self, Self::StreamSse | Self::StreamArray)
    }

    /// The label in metrics and logs: a bounded set.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generate => "generateContent",
            Self::StreamSse | Self::StreamArray => "streamGenerateContent",
            Self::CountTokens => "countTokens",
            Self::Embed => "embedContent",
            Self::BatchEmbed => "batchEmbedContents",
            Self::ModelList => "models.list",
            Self::ModelGet => "models.get",
            Self::Chat => "chat.completions",
            Self::Embeddings => "embeddings",
            Self::Interaction => "interactions.create",
            Self::Upload => "upload",
            Self::UploadStart => "upload.start",
            Self::UploadChunk => "upload.chunk",
            Self::Live => "live",
            Self::Realtime => "realtime",
            Self::Other => "other",
        }
    }
}

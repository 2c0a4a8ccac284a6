//! An owner's and a requester's own receipts.

use reqwest::Method;
use sesame_protocol::receipts::{ListedReceipt, ReceiptPage, ReceiptsOf, SignedReceiptQuery};

use super::{Owner, deadline};
use crate::{
    ClientError,
    http::{MAX_DOCUMENT, send},
};
use sesame_protocol::owner::AUTHORIZATION_HEADER;

impl Owner {
    /// `GET`: all receipts, in the order of the log, as the SMS lists them: nothing of them is verified yet.
    ///
    /// # Errors
    ///
    /// If the SMS refuses, or lists pages without end.
    pub async fn receipts(
        &self,
        now: u64,
        of: &ReceiptsOf,
    ) -> Result<Vec<ListedReceipt>, ClientError> {
        let query =
            SignedReceiptQuery::sign(of, self.sms, deadline(now), &self.domain, &self.signer);
        let (mut receipts, mut from) = (Vec::new(), 0);
        loop {
            let url = self.http.url(&format!("v1/{of}?from={from}"))?;
            let request = self.http.client().request(Method::GET, url);
            let request = request.header(AUTHORIZATION_HEADER, query.to_header());
            let page: ReceiptPage = send(request, MAX_DOCUMENT).await?.success()?;
            receipts.extend(page.receipts);
            match page.next {
                Some(next) if next > from => from = next,
                Some(_) => return Err(ClientError::WrongAcknowledgement),
                None => return Ok(receipts),
            }
        }
    }
}

/* A full queue: for status 503 Gradio's client shows a sentence of its own, for other statuses the server's, which says
   when to come back. */
const stockFetch = window.fetch;

window.fetch = async function (...request) {
  const answer = await stockFetch.apply(this, request);
  if (answer.status !== 503 || !answer.url.includes("/queue/join")) return answer;
  return new Response(await answer.text(), { status: 429, headers: { "Content-Type": "application/json" } });
};

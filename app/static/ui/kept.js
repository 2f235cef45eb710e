/* Whether what was measured for kept tokens belongs to those that are kept now. No DOM. */

/* kept: for each picture the token indices, as the server sent them. results: for each picture its selection. */
export function areKept(kept, results) {
  if (!kept || kept.length !== results.length) return false;
  return results.every((result, image) => {
    const tokens = kept[image];
    return tokens.length === result.size && tokens.every((token) => result.kept[token]);
  });
}

let attended = false;
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const players = [...document.querySelectorAll("img[data-player]")].map((image) => {
  const card = image.closest("li"), button = card.querySelector("button"), slider = card.querySelector("input");
  const name = image.alt.split(", ").pop();
  const films = {};
  let film = null, at = Number(slider.value), timer = 0, playing = false;
  const load = async () => {
    const from = (attended && image.dataset.attention) || image.dataset.player;
    films[from] ??= from ? await (await fetch(from)).json() : JSON.parse(card.querySelector("script").textContent);
    film = films[from];
  };
  const show = (frame) => { at = frame; image.src = film.frames[at]; slider.value = at; slider.setAttribute("aria-valuetext", `frame ${at + 1} of ${film.frames.length}`); };
  const wait = () => { clearTimeout(timer); timer = setTimeout(step, film.ms[at]); };
  const step = () => { show((at + 1) % film.frames.length); wait(); };
  const label = (word) => { button.textContent = word; button.setAttribute("aria-label", `${word} ${name}`); };
  const play = async () => { playing = true; label("Pause"); await load(); if (playing) wait(); };
  const pause = () => { playing = false; clearTimeout(timer); label("Play"); };
  button.onclick = () => (playing ? pause() : play());
  slider.oninput = async () => { pause(); await load(); show(Number(slider.value)); };
  card.querySelector(".controls").hidden = false;
  if (!still && !card.classList.contains("out")) play();
  const again = async () => { await load(); show(at); };
  return { play, pause, again, image };
});
const all = document.getElementById("all");
if (players.length) {
  let playing = !still;
  const label = () => { all.textContent = playing ? "Pause all" : "Play all"; };
  all.onclick = () => { playing = !playing; players.forEach((one) => (playing ? one.play() : one.pause())); label(); };
  all.hidden = false;
  label();
}
const attention = document.getElementById("attention"), covered = players.filter((one) => one.image.dataset.attention);
if (covered.length) {
  attention.onclick = () => {
    attended = !attended;
    attention.setAttribute("aria-pressed", attended);
    covered.forEach((one) => one.again());
  };
  attention.hidden = false;
}

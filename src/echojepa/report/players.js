const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
const players = [...document.querySelectorAll("img[data-player]")].map((image) => {
  const card = image.closest("li"), button = card.querySelector("button"), slider = card.querySelector("input");
  const name = image.alt.split(", ").pop();
  let film = null, at = Number(slider.value), timer = 0, playing = false;
  const load = async () => {
    film ??= image.dataset.player ? await (await fetch(image.dataset.player)).json() : JSON.parse(card.querySelector("script").textContent);
    return film;
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
  return { play, pause };
});
const all = document.getElementById("all");
if (players.length) {
  let playing = !still;
  const label = () => { all.textContent = playing ? "Pause all" : "Play all"; };
  all.onclick = () => { playing = !playing; players.forEach((one) => (playing ? one.play() : one.pause())); label(); };
  all.hidden = false;
  label();
}

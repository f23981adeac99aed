document.querySelectorAll(".atlas").forEach((atlas) => {
  const part = (name) => atlas.querySelector(`.${name}`);
  const { dots: items, colourings } = JSON.parse(part("items").textContent);
  const picture = part("still"), name = part("dot-name"), pick = part("dot"), run = part("dot-play");
  const circles = [...atlas.querySelectorAll("circle[data-dot]")], choice = part("fact");
  let at = 0, timer = null;
  const stop = () => { clearInterval(timer); timer = null; run.textContent = "Play"; };
  const look = (n) => {
    stop();
    at = n; pick.value = n; picture.src = items[n].still; picture.alt = `Middle frame of ${items[n].name}`;
    name.textContent = items[n].name; pick.setAttribute("aria-valuetext", items[n].name);
    run.disabled = !items[n].film.length;
    circles.forEach((dot) => dot.classList.toggle("at", Number(dot.dataset.dot) === n));
  };
  const play = () => {
    if (timer || !items[at].film.length) return stop();
    let frame = 0;
    run.textContent = "Stop";
    timer = setInterval(() => { picture.src = items[at].film[frame++ % items[at].film.length]; }, items[at].ms);
  };
  const colour = (fact) => {
    circles.forEach((dot) => dot.setAttribute("fill", colourings[fact].dots[Number(dot.dataset.dot)]));
    atlas.querySelectorAll("[data-key]").forEach((key) => { key.hidden = key.dataset.key !== fact; });
  };
  circles.forEach((dot) => {
    const n = Number(dot.dataset.dot);
    dot.onmouseenter = () => { if (n !== at) look(n); };
    dot.onclick = () => { if (n !== at) look(n); play(); };
  });
  pick.oninput = () => look(Number(pick.value));
  choice.onchange = () => colour(choice.value);
  run.onclick = play;
  look(0);
  colour(choice.value);
  atlas.hidden = false;
  document.getElementById("map").classList.add("printed");
});

const atlas = document.getElementById("atlas");
if (atlas) {
  const loops = JSON.parse(document.getElementById("loops").textContent);
  const picture = document.getElementById("still"), name = document.getElementById("dot-name");
  const pick = document.getElementById("dot"), run = document.getElementById("dot-play");
  const dots = [...atlas.querySelectorAll("circle")];
  let at = 0, timer = null;
  const stop = () => { clearInterval(timer); timer = null; run.textContent = "Play"; };
  const look = (n) => {
    stop();
    at = n; pick.value = n; picture.src = loops[n].still; picture.alt = `Middle frame of ${loops[n].name}`;
    name.textContent = loops[n].name; pick.setAttribute("aria-valuetext", loops[n].name);
    run.disabled = !loops[n].film.length;
    dots.forEach((dot) => dot.classList.toggle("at", Number(dot.dataset.dot) === n));
  };
  const play = () => {
    if (timer || !loops[at].film.length) return stop();
    let frame = 0;
    run.textContent = "Stop";
    timer = setInterval(() => { picture.src = loops[at].film[frame++ % loops[at].film.length]; }, loops[at].ms);
  };
  dots.forEach((dot) => {
    const n = Number(dot.dataset.dot);
    dot.onmouseenter = () => { if (n !== at) look(n); };
    dot.onclick = () => { if (n !== at) look(n); play(); };
  });
  pick.oninput = () => look(Number(pick.value));
  run.onclick = play;
  look(0);
  atlas.hidden = false;
  document.getElementById("map").classList.add("printed");
}

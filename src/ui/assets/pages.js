// What pages do beyond their HTML: one box that ticks all others of its list.
document.addEventListener('change', ({ target }) => {
  if (!target.matches('input[data-all]')) return
  for (const box of document.querySelectorAll(`input[form="${target.dataset.all}"]`)) box.checked = target.checked
})

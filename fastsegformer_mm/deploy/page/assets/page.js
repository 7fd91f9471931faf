// the overlay lies over the picture: its look changes without asking the server
window.fsfOpacity = (percent) => {
  document.documentElement.style.setProperty('--fsf-opacity', percent / 100);
};
window.fsfBoxes = (shown) => {
  document.documentElement.style.setProperty('--fsf-boxes', shown ? 'block' : 'none');
};
document.documentElement.lang = 'en';
// nor does its missing preview mean that it cannot be used
document.addEventListener('error', (event) => {
  if (event.target.closest?.('.fsf-input')) event.stopImmediatePropagation();
}, true);

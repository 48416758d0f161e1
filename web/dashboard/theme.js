// theme.js - before anything is drawn: the colours that were chosen here, else the system's.
document.documentElement.dataset.theme = localStorage.getItem('stagemill-theme') || 'auto';

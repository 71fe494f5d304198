// Waits until all that a kiosk's page shows has come: fonts, pictures, icons. An expression for Playwright's `evaluate`.
async () => {
  const end = performance.now() + 30000;
  await Promise.all([document.fonts.ready, ...[...document.images].map((image) => image.decode().catch(() => {}))]);
  // `<use>` tells nobody when its file is there.
  const isMissing = (use) => {
    const box = use.getBBox();
    return use.checkVisibility() && box.width + box.height === 0;
  };
  while ([...document.querySelectorAll("use")].some(isMissing)) {
    if (performance.now() > end) throw new Error("its icons did not come");
    await new Promise((done) => setTimeout(done, 5));
  }
}

package table

const ShownOfKind = shownOfKind

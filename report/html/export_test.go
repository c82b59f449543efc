package html

const MostRows = mostRows

var Style, Script, PolicyHash = style, script, policyHash

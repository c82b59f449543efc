package html

var Style, Script, PolicyHash = style, script, policyHash

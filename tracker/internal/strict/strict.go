// Package strict says whether a slip of the program itself is to end it. Tests
// say so.
package strict

// On makes it a panic that a finding names what its kind of anomaly does not
// declare, or leaves a blank empty.
var On bool

// Package kinds is the catalogue of anomalies: all that the rooms of the families
// have.
package kinds

import (
	"fmt"
	"slices"

	"github.com/tcpwatch/tcpwatch/tracker/anomaly"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/between"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/captures"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/closing"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/established"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/many"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/opening"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/resets"
	"github.com/tcpwatch/tcpwatch/tracker/anomaly/timewait"
)

// list is the catalogue. Its order is that in which the checks run.
var list = []*anomaly.Kind{
	&opening.ConnectionRefused,
	&opening.SynRetransmitted,
	&opening.SynTimeout,
	&opening.SynIgnoredByOldConnection,
	&opening.SynAckRetransmitted,
	&opening.SynRcvdStuck,
	&opening.AcceptStalled,
	&opening.SynRcvdReset,
	&opening.SimultaneousOpen,
	&opening.SplitHandshake,
	&opening.SelfConnect,
	&opening.OldDuplicateSYN,
	&opening.BadSYNACK,
	&opening.TfoSYNData,
	&opening.UnsolicitedSYNACK,
	&opening.HandshakeFIN,
	&closing.FinalAckLostRecovered,
	&resets.RstInsteadOfAck,
	&timewait.TimeWaitAssassination,
	&timewait.TimeWaitTruncated,
	&timewait.TimeWaitSYNChallenged,
	&timewait.TimeWaitReuseSafe,
	&timewait.TimeWaitReuseUnsafe,
	&timewait.WanderingDuplicate,
	&timewait.TimeWaitHazardH1,
	&timewait.TimeWaitHazardH2,
	&timewait.TimeWaitHazardH3,
	&closing.FinRetransmitted,
	&closing.FinNeverAcked,
	&closing.LastAckTimeout,
	&closing.SimultaneousClose,
	&closing.DataAfterFIN,
	&resets.LateFINReset,
	&resets.DataAfterCloseReset,
	&resets.KeepaliveRace,
	&resets.CloseWithUnreadData,
	&resets.LingerZeroAbort,
	&resets.AbortAfterFIN,
	&closing.CloseWaitLeak,
	&closing.FinWait2Stuck,
	&closing.HalfCloseLingering,
	&closing.NoCloseSeen,

	&between.LostBetween,
	&between.CopiedBetween,
	&between.ReorderedBetween,
	&between.DelayedBetween,
	&between.ChangedBetween,
	&between.ForgedBetween,
	&between.AnsweredBetween,
	&between.NATRewritten,

	&captures.MidstreamPickup,
	&captures.CaptureGap,
	&captures.AsymmetricCapture,
	&captures.DuplicateCapture,
	&captures.CaptureReordering,
	&captures.ClockStep,
	&captures.SnaplenTruncated,
	&captures.OffloadSegments,
	&captures.BadChecksum,
	&captures.FragmentedSegment,

	&many.PortScan,
	&many.SynFlood,
	&many.Backscatter,
	&many.ServerTimeWaitAccumulation,
	&many.EphemeralPortExhaustion,
	&many.NATMismatch,
	&many.NATBothSides,

	&resets.ChallengeAck,
	&resets.BlindRSTInWindow,
	&resets.RstOutOfWindow,
	&resets.RstIgnoredInSynSent,
	&resets.RstIgnored,
	&resets.RstUnmatched,
	&resets.RstStorm,
	&resets.DataAfterRST,
	&resets.ForgedRST,
	&resets.RstWithData,

	&resets.BlindSYN,
	&resets.NullFlags,
	&resets.XmasFlags,
	&resets.SynFIN,
	&resets.SynRST,
	&resets.FinWithoutAck,
	&resets.DataWithoutAck,
	&resets.ConnectionTampering,

	&established.TwoHostsOneTuple,
	&established.HalfOpenDiscovered,
	&opening.HandshakeNotCompleted,
	&established.AckOfUnsentData,
	&established.AckLoop,
	&established.OutOfWindowData,
	&established.WindowShrunk,
	&established.PawsRejected,
	&established.SeqWrapIn2MSL,
	&established.InconsistentRetransmission,
	&established.UrgentAnomaly,
	&established.PmtuBlackHole,
	&established.RetransmissionTimeout,
	&established.KeepaliveProbe,
	&established.KeepaliveTimeout,
	&established.ZeroWindowStall,
	&established.ZeroWindowAbort,
	&established.IcmpUnreachableTerminated,
	&established.MiddleboxIdleDrop,

	&resets.ConnectionReset, // asks what the others have found
}

// All returns the catalogue.
func All() []*anomaly.Kind { return slices.Clone(list) }

// Parse returns the kind of the given name.
func Parse(name string) (*anomaly.Kind, error) {
	for _, k := range list {
		if k.Name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%q is not a kind of anomaly", name)
}

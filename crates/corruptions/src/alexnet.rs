//! AlexNet's errors, the baseline of corruption errors.

use crate::kind::{CorruptionKind, CorruptionSeverity};

/// Top-1 error of AlexNet (torchvision's weights) on the clean validation images of ImageNet, 0 to 1. The
/// paper's table states 43.5 per cent.
pub const ALEXNET_CLEAN: f64 = 0.435;

/// The errors by kind, in the order of [`CorruptionKind::ALL`], and severity.
const ERRORS: [[f64; 5]; CorruptionKind::ALL.len()] = [
    [0.69528, 0.82542, 0.93554, 0.98138, 0.99452],
    [0.71224, 0.85108, 0.93574, 0.98182, 0.99146],
    [0.78374, 0.89808, 0.94870, 0.98720, 0.99548],
    [0.65624, 0.73202, 0.85036, 0.91364, 0.94714],
    [0.64308, 0.75054, 0.88806, 0.91622, 0.93344],
    [0.58430, 0.70048, 0.82108, 0.89750, 0.92638],
    [0.70008, 0.76992, 0.80784, 0.84198, 0.87198],
    [0.71726, 0.88392, 0.86468, 0.91870, 0.94952],
    [0.61390, 0.79734, 0.88790, 0.89942, 0.93430],
    [0.67474, 0.76050, 0.84378, 0.87260, 0.94500],
    [0.45140, 0.48502, 0.54048, 0.62166, 0.72440],
    [0.64548, 0.76150, 0.88874, 0.97760, 0.99270],
    [0.52596, 0.70116, 0.55686, 0.64076, 0.80554],
    [0.52218, 0.54620, 0.73728, 0.87092, 0.91262],
    [0.51002, 0.54718, 0.57294, 0.65458, 0.74778],
    [0.66192, 0.74440, 0.90246, 0.94548, 0.97268],
    [0.54732, 0.70444, 0.82574, 0.89864, 0.95940],
    [0.47196, 0.62194, 0.75052, 0.84132, 0.90182],
    [0.59342, 0.65514, 0.51174, 0.70834, 0.82260],
];

/// Top-1 error of AlexNet (torchvision's weights) on the 50,000 images of one kind and severity of
/// ImageNet-C, 0 to 1.
///
/// The numbers are from the table distributed with the code of ImageNet-C
/// (<https://github.com/hendrycks/robustness>). Their means over severities are the constants that AugMix and
/// many others divide by. RobustBench divides by other numbers, from 5,000 images per kind and severity,
/// which are not used here: an mCE of one kind must not be compared with one of the other.
pub fn alexnet(kind: CorruptionKind, severity: CorruptionSeverity) -> f64 {
    ERRORS[kind as usize][severity.place()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_in_their_order_and_means_are_the_constants_that_others_use() {
        // In millionths.
        let means = [
            886_428, 894_468, 922_640, 819_880, 826_268, 785_948, 798_360, 866_816, 826_572, 819_324,
            564_592, 853_204, 646_056, 717_840, 606_500, 845_388, 787_108, 717_512, 658_248,
        ];
        for (place, (kind, mean)) in CorruptionKind::ALL.into_iter().zip(means).enumerate() {
            assert_eq!(kind as usize, place);
            let ours: f64 =
                CorruptionSeverity::ALL.iter().map(|severity| alexnet(kind, *severity)).sum::<f64>() / 5.0;
            assert!((ours * 1e6 - f64::from(mean)).abs() < 1e-6, "{}: {ours} {mean}", kind.name());
        }
        assert_eq!(alexnet(CorruptionKind::Fog, CorruptionSeverity::ALL[4]), 0.945);
    }
}

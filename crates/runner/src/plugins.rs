//! The plugins of this binary. A dependency that no code names is not linked, so each has a line here as well
//! as in Cargo.toml. `cargo xtask tidy` compares both lists with the folder `plugins`.

use temper_attack_apgd as _;
use temper_attack_cw as _;
use temper_attack_deepfool as _;
use temper_attack_fab as _;
use temper_attack_fgsm as _;
use temper_attack_hop_skip_jump as _;
use temper_attack_mi_fgsm as _;
use temper_attack_pgd as _;
use temper_attack_ray_s as _;
use temper_attack_square as _;
use temper_dataset_cifar as _;
use temper_dataset_idx as _;
use temper_dataset_image_folder as _;
use temper_dataset_imagenet as _;
use temper_dataset_npz as _;
use temper_epsilon_fixed as _;
use temper_epsilon_instance_adaptive as _;
use temper_epsilon_line_search as _;
use temper_loss_cross_entropy as _;
use temper_loss_mart as _;
use temper_loss_mixup as _;
use temper_loss_trades as _;
use temper_model_convnet as _;
use temper_model_onnx as _;
use temper_model_resnet as _;
use temper_model_sequential as _;
use temper_model_wide_resnet as _;
use temper_suite_autoattack as _;
use temper_suite_iaat as _;
